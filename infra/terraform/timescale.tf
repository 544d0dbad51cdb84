# Optional: TimescaleDB at Timescale Cloud. Allow only the output `egress_address` in its console; the provider has no
# resource for that.

resource "timescale_service" "marquee" {
  count                     = var.timescale == null ? 0 : 1
  name                      = "marquee"
  region_code               = var.timescale.region
  milli_cpu                 = var.timescale.milli_cpu
  memory_gb                 = var.timescale.memory_gb
  environment_tag           = "PROD"
  connection_pooler_enabled = true
  password_wo               = var.secrets.timescale_password
  password_wo_version       = var.secrets_version
}
