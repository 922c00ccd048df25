"""Reading what stands in the catalogue: teams, apps, providers, models, prompts, environments, routes, releases."""
