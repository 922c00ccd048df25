"""The only room that knows everyone: supervisor and roles, one file each."""

import gc

YOUNG_OBJECTS_MAX = 50_000
"""Objects that may be made, less those that died, before the collector looks at the young ones. A process begins by
importing hundreds of modules that all stay: with the usual 700 a tenth of its start went into walking them. Ingest
makes rows by the thousand that all die young. A gateway sets a figure of its own when it has begun."""

gc.set_threshold(YOUNG_OBJECTS_MAX, 20, 50)
