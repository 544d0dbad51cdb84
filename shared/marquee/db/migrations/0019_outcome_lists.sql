-- Outcomes keep arm, version, position and propensity of their list, so that panels need not search all lists. The
-- monitor writes them once the impression is stored; null until then. `list_position` counts from 1.
ALTER TABLE app_outcomes
    ADD COLUMN arm           text,
    ADD COLUMN model_version text,
    ADD COLUMN list_position integer,
    ADD COLUMN propensity    double precision;
CREATE INDEX app_outcomes_without_list ON app_outcomes (at) WHERE arm IS NULL;
