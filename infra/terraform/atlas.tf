# Optional: MongoDB Atlas for the app. Only the functions' one address is let in. Passwordless access of Google service
# accounts exists for dedicated clusters only, so this one has a password, which is in no plan and no state.

locals {
  atlas = try(var.app.atlas, null) == null ? {} : { app = var.app.atlas }
  # Ephemeral, because it has the password.
  documents_url = length(local.atlas) == 0 ? var.secrets.documents_url : format(
    "mongodb+srv://app:%s@%s/marquee?retryWrites=true&w=majority",
    urlencode(var.secrets.atlas_password),
    trimprefix(mongodbatlas_flex_cluster.app["app"].connection_strings.standard_srv, "mongodb+srv://"),
  )
}

resource "mongodbatlas_project" "app" {
  for_each = local.atlas
  name     = "marquee"
  org_id   = each.value.org_id
}

resource "mongodbatlas_flex_cluster" "app" {
  for_each                       = local.atlas
  project_id                     = mongodbatlas_project.app[each.key].id
  name                           = "marquee"
  termination_protection_enabled = var.deletion_protection
  provider_settings = {
    backing_provider_name = "GCP"
    region_name           = each.value.region
  }
}

resource "mongodbatlas_project_ip_access_list" "functions" {
  for_each   = local.atlas
  project_id = mongodbatlas_project.app[each.key].id
  ip_address = google_compute_address.egress.address
  comment    = "Cloud NAT of the functions"
}

resource "mongodbatlas_database_user" "app" {
  for_each            = local.atlas
  project_id          = mongodbatlas_project.app[each.key].id
  auth_database_name  = "admin"
  username            = "app"
  password_wo         = var.secrets.atlas_password
  password_wo_version = var.secrets_version

  roles {
    role_name     = "readWrite"
    database_name = "marquee"
  }
  # collMod needs more than readWrite: the migration changes validators and retention terms.
  roles {
    role_name     = "dbAdmin"
    database_name = "marquee"
  }
  scopes {
    name = mongodbatlas_flex_cluster.app[each.key].name
    type = "CLUSTER"
  }
}
