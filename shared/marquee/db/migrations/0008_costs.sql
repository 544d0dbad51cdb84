-- What the system would cost a month, were every day as the last: estimated by `monitor` from the load that it measured
-- and a dated table of prices. One row a part and hour.
CREATE TABLE cost_estimates (
    time                timestamptz      NOT NULL,
    part                text             NOT NULL,
    usd_per_month       double precision NOT NULL,
    lines_per_second    double precision NOT NULL,
    requests_per_second double precision NOT NULL,
    prices_date         date             NOT NULL,
    PRIMARY KEY (part, time)
);
CREATE INDEX cost_estimates_by_time ON cost_estimates (time DESC);
INSERT INTO retention_terms (table_name, keep) VALUES ('cost_estimates', '400 days');
