"""The price book: a dated file built from genai-prices; unknown stays unknown and is never 0."""
