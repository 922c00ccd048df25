"""`python -m lineclear` is the command line."""

from lineclear.cli.main import main

if __name__ == "__main__":
    main()
