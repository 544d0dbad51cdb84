"""The dashboards as a local page: Grafana's files, their queries, drawn in the browser without Grafana."""
