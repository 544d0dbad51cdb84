-- Lists of which `recommend` had to remove a movie above the age of the account. There should be none, so that the
-- index is empty, and the alert that reads it costs nothing.

CREATE INDEX impressions_with_broken_age_rules ON impressions (time) WHERE 'age-rule-broken' = ANY (notes);
