# Retraining on a cluster: with `spark`, the schedules of the retraining start a batch of Dataproc Serverless instead of
# the job of Cloud Run, which stays to be started by hand. See docs/spark.md.

locals {
  batches   = var.spark == null ? {} : { for name, job in local.jobs : name => job if job.image == "retrain" }
  batch_api = "https://dataproc.googleapis.com/v1/projects/${var.project_id}/locations/${var.region}/batches"

  batch_body = { for name, job in local.batches : name => {
    pysparkBatch = {
      mainPythonFileUri = "file:///app/main.py"
      args              = job.args
    }
    runtimeConfig = {
      version        = "3.0" # Spark 4.0
      containerImage = "${local.images}/spark:${var.commit}"
      properties = merge(
        { for variable, value in local.environment[name] : "spark.dataproc.driverEnv.${variable}" => value },
        {
          "spark.dataproc.driverEnv.MARQUEE_SECRETS" = jsonencode({
            for variable, version in local.versions_of[name] : variable => version.name
          })
          "spark.dataproc.driverEnv.PYSPARK_PYTHON" = "/venv/bin/python"
          "spark.executorEnv.PYSPARK_PYTHON"        = "/venv/bin/python"
          "spark.driver.memory"                     = "${var.spark.driver_gb}g"
          "spark.executor.instances"                = tostring(var.spark.executors)
          "spark.dynamicAllocation.maxExecutors"    = tostring(var.spark.executors)
        },
      )
    }
    environmentConfig = {
      executionConfig = {
        serviceAccount = google_service_account.part[name].email
        subnetworkUri  = google_compute_subnetwork.marquee.id
        networkTags    = ["marquee-spark"]
        ttl            = "${job.timeout * 4}s"
      }
    }
  } }
}

resource "google_project_service" "dataproc" {
  count              = var.spark == null ? 0 : 1
  service            = "dataproc.googleapis.com"
  disable_on_destroy = false
}

# A batch runs as the retraining's account, and the clock may start it so.
resource "google_project_iam_member" "spark_worker" {
  for_each   = local.batches
  project    = var.project_id
  role       = "roles/dataproc.worker"
  member     = google_service_account.part[each.key].member
  depends_on = [google_project_service.dataproc]
}

resource "google_project_iam_member" "spark_scheduler" {
  count      = var.spark == null ? 0 : 1
  project    = var.project_id
  role       = "roles/dataproc.serverlessEditor"
  member     = google_service_account.part["scheduler"].member
  depends_on = [google_project_service.dataproc]
}

resource "google_service_account_iam_member" "spark_scheduler" {
  for_each           = local.batches
  service_account_id = google_service_account.part[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.part["scheduler"].member
}

# Rows of a run are written, read and deleted again under staging/.
resource "google_storage_bucket_iam_member" "spark_staging" {
  for_each = local.batches
  bucket   = google_storage_bucket.artifacts.name
  role     = "roles/storage.objectUser"
  member   = google_service_account.part[each.key].member
  condition {
    title       = "rows of a run"
    description = "A batch deletes them at its end."
    expression  = "resource.name.startsWith(\"${local.bucket}staging/\")"
  }
}
