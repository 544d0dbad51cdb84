"""The dashboards as a page of this machine."""
