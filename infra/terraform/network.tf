# One network with one static address for all egress, which the database and Kafka allow. Nothing in it accepts
# connections, so there is no ingress rule.

resource "google_compute_network" "marquee" {
  # checkov:skip=CKV2_GCP_18:There is no machine in this network, and ingress without a rule is refused.
  name                    = "marquee"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.enabled]
}

resource "google_compute_subnetwork" "marquee" {
  # checkov:skip=CKV_GCP_76:The network has no IPv6 (stack_type).
  name                     = "marquee"
  network                  = google_compute_network.marquee.id
  region                   = var.region
  ip_cidr_range            = "10.0.0.0/23" # an instance needs one address, and two while it is replaced
  stack_type               = "IPV4_ONLY"
  private_ip_google_access = true
  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

resource "google_compute_address" "egress" {
  name       = "marquee-egress"
  region     = var.region
  depends_on = [google_project_service.enabled]
}

resource "google_compute_router" "marquee" {
  name    = "marquee"
  region  = var.region
  network = google_compute_network.marquee.id
}

resource "google_compute_router_nat" "marquee" {
  name                               = "marquee"
  router                             = google_compute_router.marquee.name
  region                             = var.region
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.egress.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  subnetwork {
    name                    = google_compute_subnetwork.marquee.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
