-- Experiments (docs/experiments.md). Every row is a function of the event store, the releases and the declarations.

-- Finds the requests of one user, and the first that showed a movie.
CREATE INDEX recommendation_requests_by_user ON recommendation_requests (user_id, time);

-- The users who take part in an experiment and have asked since. `enrolled`: start of the release that enrolled them.
-- shown_arm and crossed come from impressions: the first arm that served the user, and whether another one did.
-- The last two columns are of the 14 days before the start of the experiment.
CREATE TABLE experiment_users (
    experiment  text        NOT NULL,
    user_id     text        NOT NULL,
    arm         text        NOT NULL,
    enrolled    timestamptz NOT NULL,
    first_asked timestamptz NOT NULL,
    shown_arm   text,
    crossed     boolean     NOT NULL DEFAULT false,
    pre_minutes double precision NOT NULL DEFAULT 0,
    pre_asks    double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (experiment, user_id)
);

-- One user's hour since the user was enrolled. asks: requests; failed and late as in `availability`. lists: answered
-- requests that no other one precedes within 30 minutes, and whose window was over when the row was computed; watched:
-- movies of these lists that the user began within the window. minutes: watched in movies begun in this hour, within
-- 24 hours of the first list that showed them; all_minutes: in all movies begun.
CREATE TABLE experiment_hours (
    time        timestamptz NOT NULL,
    experiment  text        NOT NULL,
    user_id     text        NOT NULL,
    arm         text        NOT NULL,
    asks        integer     NOT NULL,
    failed      integer     NOT NULL,
    late        integer     NOT NULL,
    lists       integer     NOT NULL,
    watched     integer     NOT NULL,
    minutes     integer     NOT NULL,
    all_minutes integer     NOT NULL,
    computed    timestamptz NOT NULL,
    PRIMARY KEY (experiment, user_id, time)
);
CREATE INDEX experiment_hours_by_time ON experiment_hours (time DESC);

-- Control's model and the model of `arm` on the same event of any user, each from what was known before it. kind
-- 'rating': squared errors of the predicted rating. kind 'view': 1 if the movie that the user began is among the 20
-- movies that the model would have shown; of viewings before which no list was shown for 24 hours. Both values are null
-- if a model cannot say anything.
CREATE TABLE experiment_pairs (
    time       timestamptz NOT NULL,
    experiment text        NOT NULL,
    arm        text        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('rating', 'view')),
    user_id    text        NOT NULL,
    movie_id   text        NOT NULL,
    old        double precision,
    new        double precision,
    PRIMARY KEY (experiment, arm, kind, user_id, movie_id, time),
    CHECK ((old IS NULL) = (new IS NULL))
);
CREATE INDEX experiment_pairs_by_time ON experiment_pairs (time DESC);

-- Values of metrics before the start, which fix the size of relative margins.
CREATE TABLE experiment_baselines (
    experiment text NOT NULL,
    metric     text NOT NULL,
    value      double precision NOT NULL,
    computed   timestamptz NOT NULL,
    PRIMARY KEY (experiment, metric)
);

-- One metric of one arm at one look. values 0 are control's, 1 the arm's. low and high: the confidence sequence of the
-- estimate. harm_high: the upper bound of the harm; null if nothing bounds it.
CREATE TABLE experiment_looks (
    time        timestamptz NOT NULL,
    experiment  text        NOT NULL,
    arm         text        NOT NULL,
    metric      text        NOT NULL,
    users0      double precision NOT NULL,
    users1      double precision NOT NULL,
    value0      double precision NOT NULL,
    value1      double precision NOT NULL,
    estimate    double precision NOT NULL,
    error       double precision,
    information double precision NOT NULL,
    low         double precision,
    high        double precision,
    margin      double precision,
    harm        double precision NOT NULL,
    harm_high   double precision,
    e           double precision NOT NULL,
    verdict     text        NOT NULL,
    PRIMARY KEY (experiment, time, arm, metric)
);
CREATE INDEX experiment_looks_by_time ON experiment_looks (time DESC);

-- The decision of each look, a copy for panels and alerts: the releases are the truth. share: of each new arm, after the
-- decision. e: the largest mean e-value of harm of an arm. room: the share that the harm not excluded allows.
CREATE TABLE experiment_decisions (
    time          timestamptz NOT NULL,
    experiment    text        NOT NULL,
    release       integer     NOT NULL,
    as_of         timestamptz,
    action        text        NOT NULL,
    share         double precision NOT NULL,
    arm           text        NOT NULL,
    reason        text        NOT NULL,
    alert         text        NOT NULL CHECK (alert IN ('', 'harmed', 'invalid', 'blind')),
    e             double precision NOT NULL,
    room          double precision NOT NULL,
    waits_for     text        NOT NULL,
    e_requests    double precision NOT NULL,
    e_impressions double precision NOT NULL,
    crossed       double precision NOT NULL,
    evidence      text        NOT NULL,
    PRIMARY KEY (experiment, time)
);
CREATE INDEX experiment_decisions_by_time ON experiment_decisions (time DESC);

-- Rows with user ids are kept for as long as impressions, results for as long as other results.
INSERT INTO retention_terms (table_name, time_column, keep) VALUES
    ('experiment_users', 'enrolled', '180 days'),
    ('experiment_baselines', 'computed', '400 days');

INSERT INTO role_grants (role_name, object, privileges) VALUES
    ('marquee_monitor', 'experiment_users', 'SELECT, INSERT, UPDATE'),
    ('marquee_monitor', 'experiment_hours', 'SELECT, INSERT, UPDATE'),
    ('marquee_monitor', 'experiment_pairs', 'SELECT, INSERT, UPDATE'),
    ('marquee_monitor', 'experiment_baselines', 'SELECT, INSERT, UPDATE'),
    ('marquee_monitor', 'experiment_looks', 'SELECT, INSERT, UPDATE'),
    ('marquee_monitor', 'experiment_decisions', 'SELECT, INSERT, UPDATE'),
    ('marquee_grafana', 'experiment_users', 'SELECT'),
    ('marquee_grafana', 'experiment_hours', 'SELECT'),
    ('marquee_grafana', 'experiment_pairs', 'SELECT'),
    ('marquee_grafana', 'experiment_looks', 'SELECT'),
    ('marquee_grafana', 'experiment_decisions', 'SELECT');
SELECT grant_privileges();
