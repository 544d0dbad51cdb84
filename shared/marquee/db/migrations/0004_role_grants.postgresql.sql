-- Functions of the rollups are called by triggers and by roll_up_records, which runs as its owner.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rollups FROM PUBLIC;
