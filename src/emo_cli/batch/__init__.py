"""Many videos: where the jobs come from, who does which, what is finished, and the report about all."""
