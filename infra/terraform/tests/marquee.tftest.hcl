# Properties of every installation. The providers are mocked, so nothing is created.

mock_provider "google" {
  mock_resource "google_cloud_run_v2_job" {
    defaults = { terminal_condition = [{ state = "CONDITION_SUCCEEDED", type = "Ready", execution_reason = "", last_transition_time = "", message = "", reason = "", revision_reason = "", severity = "" }] }
  }
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}
mock_provider "timescale" {}
mock_provider "grafana" {}
mock_provider "mongodbatlas" {}
mock_provider "confluent" {}

variables {
  project_id        = "marquee-test"
  commit            = "0123456789abcdef0123456789abcdef01234567"
  kafka             = { bootstrap = "kafka.example.edu:9093", username = "bridge" }
  secrets           = { database_passwords = { events = "0123456789abcdef", ingest = "0123456789abcdef", monitor = "0123456789abcdef", recommend = "0123456789abcdef", retention = "0123456789abcdef", retrain = "0123456789abcdef" }, database_url = "postgresql://app:x@db.example.edu:5432/marquee?sslmode=require", kafka_password = "x" }
  github            = { repository_id = "1", owner_id = "2", state_bucket = "marquee-test-state" }
  recommend_callers = ["allUsers"]
  budget            = { billing_account = "012345-6789AB-CDEF01", amount = 50 }
}

run "buckets_are_private_and_versioned" {
  command = apply
  assert {
    condition     = alltrue([for b in [google_storage_bucket.artifacts, google_storage_bucket.sources] : b.public_access_prevention == "enforced" && b.uniform_bucket_level_access])
    error_message = "A bucket can be made public."
  }
  assert {
    condition     = alltrue([for b in [google_storage_bucket.artifacts, google_storage_bucket.sources] : b.versioning[0].enabled && b.soft_delete_policy[0].retention_duration_seconds >= 604800])
    error_message = "A bucket does not keep deleted objects."
  }
  assert {
    condition = alltrue([for grant in flatten([
      values(google_storage_bucket_iam_member.reader), values(google_storage_bucket_iam_member.adder),
      values(google_storage_bucket_iam_member.releaser), values(google_storage_bucket_iam_member.expirer), values(google_storage_bucket_iam_member.state), [google_storage_bucket_iam_member.build],
    ]) : !startswith(grant.member, "all")])
    error_message = "Everyone may read a bucket."
  }
}

run "delivery_is_retried_before_dead_letter" {
  command = apply
  assert {
    condition     = google_pubsub_subscription.ingest.retry_policy[0].minimum_backoff == "10s" && google_pubsub_subscription.ingest.retry_policy[0].maximum_backoff == "600s"
    error_message = "Failed deliveries are retried without back-off."
  }
  assert {
    condition     = google_pubsub_subscription.ingest.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters.id && google_pubsub_subscription.ingest.dead_letter_policy[0].max_delivery_attempts == 100
    error_message = "Undeliverable messages are not kept as dead letters."
  }
  assert {
    condition     = google_pubsub_subscription.dead_letters.topic == google_pubsub_topic.dead_letters.id && google_pubsub_subscription.dead_letters.message_retention_duration == "2678400s"
    error_message = "Dead letters are not retained for 31 days."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" && google_pubsub_topic_iam_member.dead_letters.role == "roles/pubsub.publisher" && google_pubsub_subscription_iam_member.dead_letters.role == "roles/pubsub.subscriber"
    error_message = "The service agent of Pub/Sub cannot move dead letters."
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.ingest, google_pubsub_subscription.dead_letters] : s.expiration_policy[0].ttl == ""])
    error_message = "A subscription expires without traffic."
  }
  assert {
    condition     = google_pubsub_subscription.ingest.ack_deadline_seconds > module.function["ingest"].config.timeout_seconds && google_pubsub_subscription.ingest.ack_deadline_seconds <= 600
    error_message = "Pub/Sub redelivers what ingest is still writing."
  }
  assert {
    condition     = google_pubsub_subscription.ingest.push_config[0].oidc_token[0].audience == google_pubsub_subscription.ingest.push_config[0].push_endpoint
    error_message = "The push has no token for its endpoint."
  }
  assert {
    condition     = google_pubsub_subscription.ingest.push_config[0].push_endpoint == "https://marquee-ingest-123456789012.us-east4.run.app"
    error_message = "The push endpoint is not the address that Cloud Run derives from the function's name."
  }
  assert {
    condition     = module.function["ingest"].config.environment_variables.MARQUEE_PUSH_IDENTITY == join("=", [google_pubsub_subscription.ingest.push_config[0].oidc_token[0].service_account_email, google_pubsub_subscription.ingest.push_config[0].oidc_token[0].audience])
    error_message = "ingest expects other tokens than those that are sent."
  }
  assert {
    condition     = [for key, grant in google_cloud_run_v2_service_iam_member.invoker : grant.member if grant.name == module.function["ingest"].service] == [google_service_account.part["push"].member]
    error_message = "Other accounts than that of the push may deliver."
  }
}

run "functions_scale_to_zero_and_have_maximum" {
  command = apply
  assert {
    condition     = module.function["recommend"].config.min_instance_count == 0 && module.function["ingest"].config.min_instance_count == 0
    error_message = "A function keeps an idle instance."
  }
  assert {
    condition     = alltrue([for name, f in module.function : f.config.max_instance_count >= 1 && f.config.max_instance_count <= 100])
    error_message = "A function has no maximum of instances."
  }
  assert {
    condition     = output.connections <= 100
    error_message = "The parts need more connections than the database accepts."
  }
}

run "min_instances_keep_a_function_started" {
  command = apply
  variables {
    min_instances = { recommend = 1 }
  }
  assert {
    condition     = module.function["recommend"].config.min_instance_count == 1 && module.function["ingest"].config.min_instance_count == 0
    error_message = "min_instances does not reach its function, or another one."
  }
}

run "recommend_is_private_by_default" {
  command = apply
  variables {
    recommend_callers = []
  }
  assert {
    condition     = [for key, grant in google_cloud_run_v2_service_iam_member.invoker : key if grant.name == module.function["recommend"].service] == []
    error_message = "Someone may call recommend without being named."
  }
}

run "recommend_is_open_to_the_named_caller_only" {
  command = apply
  variables {
    recommend_callers = ["serviceAccount:stream@example.iam.gserviceaccount.com"]
  }
  assert {
    condition     = [for grant in google_cloud_run_v2_service_iam_member.invoker : grant.member if grant.name == module.function["recommend"].service] == ["serviceAccount:stream@example.iam.gserviceaccount.com"]
    error_message = "Another caller than the named one may call recommend."
  }
}

run "storage_and_secrets_are_reached_without_nat" {
  command = apply
  assert {
    condition     = google_compute_subnetwork.marquee.private_ip_google_access
    error_message = "Google's own services are reached through NAT, whose ports a cold start must wait for."
  }
}

run "failed_migration_is_run_again_before_anything_else" {
  command = apply
  assert {
    condition     = !module.migrate.config.deletion_protection && module.migrate.config.apply_timeout == "3600s"
    error_message = "A tainted migration cannot be replaced, or an apply stops waiting before the migration ends."
  }
  assert {
    condition     = alltrue([for job in module.scheduled : job.config.deletion_protection && tonumber(trimsuffix(job.config.apply_timeout, "s")) > tonumber(trimsuffix(job.config.timeout, "s"))])
    error_message = "A scheduled job is not protected, or has no timeout for its apply."
  }
}

run "functions_wait_for_a_migration_that_succeeded" {
  command = apply
  override_resource {
    target = module.migrate.google_cloud_run_v2_job.this
    values = { terminal_condition = [{ state = "CONDITION_FAILED", type = "Ready", execution_reason = "", last_transition_time = "", message = "", reason = "", revision_reason = "", severity = "" }] }
  }
  variables {
    migrate_attempt = 2
  }
  expect_failures = [terraform_data.migrated]
}

run "higher_attempt_runs_the_migration_again" {
  command = apply
  variables {
    migrate_attempt = 3
  }
  assert {
    condition     = module.migrate.config.run_execution_token == "0123456789ab-3-1" && terraform_data.migrated.output
    error_message = "A higher migrate_attempt does not run the migration."
  }
}

run "buckets_with_objects_are_protected" {
  command = apply
  assert {
    condition     = !google_storage_bucket.artifacts.force_destroy && !google_storage_bucket.sources.force_destroy
    error_message = "A destroy deletes every model."
  }
}

run "everything_can_be_destroyed_after_protection_is_off" {
  command = apply
  variables {
    deletion_protection = false
  }
  assert {
    condition     = google_storage_bucket.artifacts.force_destroy && google_storage_bucket.sources.force_destroy && !google_cloud_run_v2_worker_pool.bridge.deletion_protection && alltrue([for job in module.scheduled : !job.config.deletion_protection]) && alltrue([for secret in google_secret_manager_secret.this : !secret.deletion_protection])
    error_message = "A destroy stops at a protected resource."
  }
}

run "failed_jobs_are_counted" {
  command = plan
  assert {
    condition     = google_monitoring_alert_policy.this["jobs"].conditions[0].condition_threshold[0].aggregations[0].per_series_aligner == "ALIGN_DELTA"
    error_message = "The alert counts points of the metric instead of failures."
  }
}

run "callers_are_authenticated" {
  command = plan
  variables {
    recommend_callers = ["serviceAccount:stream@example.iam.gserviceaccount.com"]
  }
  assert {
    condition     = module.function["recommend"].config.environment_variables.MARQUEE_ACCESS == "platform" && module.function["events"].config.environment_variables.MARQUEE_ACCESS == "platform"
    error_message = "Without allUsers, Cloud Run authenticates every caller."
  }
  assert {
    condition     = toset([for s in module.function["events"].config.secret_environment_variables : s.key]) == toset(["MARQUEE_DATABASE_URL", "MARQUEE_PRIVACY_KEY", "MARQUEE_API_KEYS", "MARQUEE_TOKEN_SECRET"])
    error_message = "events does not have its keys, or has other secrets."
  }
}

run "open_functions_need_keys" {
  command = plan
  variables {
    recommend_callers = []
    events_callers    = ["allUsers"]
  }
  assert {
    condition     = module.function["events"].config.environment_variables.MARQUEE_ACCESS == "private"
    error_message = "A function that the internet may call answers without a key."
  }
}

run "platform_does_not_authenticate_all_users" {
  command = plan
  variables {
    recommend_callers = ["allUsers"]
    settings          = { access = "platform" }
  }
  expect_failures = [var.settings]
}

run "only_recommend_is_public" {
  command = apply
  assert {
    condition     = [for key, grant in google_cloud_run_v2_service_iam_member.invoker : key if grant.member == "allUsers"] == ["recommend-allUsers"]
    error_message = "Another function than recommend is public."
  }
  assert {
    condition     = module.function["ingest"].config.ingress_settings == "ALLOW_INTERNAL_ONLY" && module.function["recommend"].config.ingress_settings == "ALLOW_ALL"
    error_message = "ingest accepts external traffic, or recommend does not."
  }
  assert {
    condition     = alltrue([for grant in google_cloud_run_v2_service_iam_member.invoker : grant.role == "roles/run.invoker"])
    error_message = "An invoker has another role."
  }
}

run "parts_have_least_privilege" {
  command = apply
  assert {
    condition     = toset(keys(google_storage_bucket_iam_member.reader)) == toset(["monitor", "recommend", "retrain", "retrain-if-requested"]) && toset(keys(google_storage_bucket_iam_member.adder)) == toset(["retrain", "retrain-if-requested"])
    error_message = "Only monitor, recommend and the retrainings may read artifacts, and only the retrainings add them."
  }
  assert {
    condition     = toset(keys(google_storage_bucket_iam_member.releaser)) == toset(["retrain", "retrain-if-requested"]) && google_storage_bucket_iam_member.releaser["retrain"].condition[0].expression == "resource.name == \"projects/_/buckets/marquee-test-marquee-artifacts/objects/releases/current.json\" || resource.name == \"projects/_/buckets/marquee-test-marquee-artifacts/objects/catalog/movies.json\""
    error_message = "Another object than the release document may be replaced, or by another part than retrain."
  }
  assert {
    condition     = toset(keys(google_pubsub_topic_iam_member.publisher)) == toset(["bridge", "recommend"])
    error_message = "Other parts than the bridge and recommend may publish."
  }
  assert {
    condition = alltrue([
      for grant in local.secret_readers : contains(local.needs[grant.part], replace(split("-url-", grant.secret)[0] == "database" ? "database_url" : grant.secret, "-", "_"))
      ]) && alltrue([
      for key in ["bridge-database-url", "ingest-kafka-options", "recommend-kafka-options", "build-database-url"] : !contains(keys(google_secret_manager_secret_iam_member.reader), key)
    ])
    error_message = "A part may read a secret that it does not need."
  }
  assert {
    condition = { for key, grant in local.secret_readers : grant.part => grant.secret... if startswith(grant.secret, "database-") } == {
      events  = ["database-url-events"], ingest = ["database-url-ingest"], migrate = ["database-logins", "database-url"],
      monitor = ["database-url-monitor"], recommend = ["database-url-recommend"], retention = ["database-url-retention"],
      retrain = ["database-url-retrain"], retrain-if-requested = ["database-url-retrain"],
    }
    error_message = "A part has another login of the database than its own."
  }
  assert {
    condition     = alltrue([for grant in google_secret_manager_secret_iam_member.reader : grant.role == "roles/secretmanager.secretAccessor"])
    error_message = "A reader of secrets has another role."
  }
  assert {
    condition     = toset(keys(google_cloud_run_v2_job_iam_member.scheduler)) == toset([for name, schedule in yamldecode(file("../schedules.yaml")).schedules : name if startswith(schedule.job, "jobs/")])
    error_message = "The scheduler may start a job that it does not schedule."
  }
  assert {
    condition     = length(distinct([for account in google_service_account.part : account.account_id])) == length(local.parts)
    error_message = "Two parts share an account."
  }
  assert {
    condition     = google_project_iam_member.build["roles/storage.objectViewer"].condition[0].expression != ""
    error_message = "The builder may read every bucket."
  }
}

run "no_account_is_owner_or_editor" {
  command = apply
  assert {
    condition = alltrue([for role in concat([for g in google_project_iam_member.apply : g.role], [for g in google_project_iam_member.plan : g.role], [for g in google_project_iam_member.build : g.role]) :
    !contains(["roles/owner", "roles/editor", "roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator", "roles/resourcemanager.projectIamAdmin"], role)])
    error_message = "An account has a role on the project that includes all others."
  }
  assert {
    condition     = !strcontains(google_project_iam_member.grant[0].condition[0].expression, "owner") && strcontains(google_project_iam_member.grant[0].condition[0].expression, "roles/logging.logWriter")
    error_message = "GitHub may grant any role."
  }
  assert {
    condition     = alltrue([for word in ["repository_id == '1'", "repository_owner_id == '2'", "ref == 'refs/heads/main'"] : strcontains(google_iam_workload_identity_pool_provider.github[0].attribute_condition, word)])
    error_message = "Workflows of another repository are accepted."
  }
  assert {
    condition     = endswith(google_service_account_iam_member.github["apply"].member, "/attribute.right/apply") && strcontains(google_iam_workload_identity_pool_provider.github[0].attribute_mapping["attribute.right"], "environment == 'production'")
    error_message = "A pull request may apply."
  }
  assert {
    condition     = google_storage_bucket_iam_member.state["plan"].role == "roles/storage.objectViewer"
    error_message = "A plan may change the state."
  }
}

run "all_egress_has_one_address" {
  command = apply
  assert {
    condition     = google_compute_router_nat.marquee.nat_ip_allocate_option == "MANUAL_ONLY" && length(google_compute_router_nat.marquee.nat_ips) == 1
    error_message = "The address that the database allows is not the one in use."
  }
  assert {
    condition     = alltrue([for f in module.function : f.config.direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC"]) && alltrue([for v in concat([google_cloud_run_v2_worker_pool.bridge.template[0].vpc_access[0], module.migrate.config.vpc_access[0]], [for j in module.scheduled : j.config.vpc_access[0]]) : v.egress == "ALL_TRAFFIC"])
    error_message = "A part has another egress."
  }
}

run "parts_get_the_settings_they_read" {
  command = apply
  assert {
    # Pub/Sub signs its deliveries, so no part gets a delivery secret. It stays reserved: it is no setting for plain text.
    condition     = toset(keys(local.provided)) == setsubtract(toset(local.reserved), toset(concat(keys(local.secret_settings), ["delivery_secret"])))
    error_message = "PROVIDED in config/needs.py is not what the configuration provides."
  }
  assert {
    condition     = module.function["recommend"].config.environment_variables.MARQUEE_DELIVERY_URL == "pubsub://marquee-test/marquee-events" && module.function["recommend"].config.environment_variables.MARQUEE_OBJECTS_URL == "gs://marquee-test-marquee-artifacts"
    error_message = "recommend lacks the topic or the bucket."
  }
  assert {
    condition     = !contains(keys(module.function["ingest"].config.environment_variables), "MARQUEE_OBJECTS_URL")
    error_message = "ingest gets a setting that it does not read."
  }
  assert {
    condition     = toset([for s in module.function["ingest"].config.secret_environment_variables : s.key]) == toset(["MARQUEE_DATABASE_URL", "MARQUEE_PRIVACY_KEY"]) && !contains(keys(module.function["ingest"].config.environment_variables), "MARQUEE_DATABASE_URL")
    error_message = "The database password is not a secret."
  }
  assert {
    condition     = alltrue([for v in google_secret_manager_secret_version.this : v.secret_data == null])
    error_message = "A secret is in the state."
  }
  assert {
    condition     = module.migrate.config.run_execution_token == "0123456789ab-1-1"
    error_message = "A new commit does not run the migrations."
  }
  assert {
    condition     = google_cloud_scheduler_job.job["retrain"].schedule == "15 4 * * *" && endswith(google_cloud_scheduler_job.job["retrain"].http_target[0].uri, "/jobs/marquee-retrain:run")
    error_message = "The schedule does not start the retraining."
  }
  assert {
    condition     = module.scheduled["retrain-if-requested"].config.containers[0].args == tolist(["--if-requested"]) && length(module.scheduled["retrain"].config.containers[0].args) == 0
    error_message = "A retraining runs without a request, or the nightly one waits for a request."
  }
  assert {
    condition     = google_cloud_scheduler_job.function["monitor"].http_target[0].http_method == "POST" && google_cloud_scheduler_job.function["monitor"].http_target[0].oidc_token[0].audience == google_cloud_scheduler_job.function["monitor"].http_target[0].uri
    error_message = "The schedule does not call monitor with its own token."
  }
  assert {
    condition     = keys(google_cloud_scheduler_job.function) == ["monitor"] && google_cloud_run_v2_service_iam_member.invoker["monitor-schedule"].member == google_service_account.part["scheduler"].member
    error_message = "Another account than the scheduler's may call monitor."
  }
}

run "a_setting_reaches_the_parts_that_need_it" {
  command = apply
  variables {
    settings = { rating_scale = "1-10" }
  }
  assert {
    condition     = module.function["ingest"].config.environment_variables.MARQUEE_RATING_SCALE == "1-10"
    error_message = "A setting does not reach a part that reads it."
  }
}

run "no_optional_part_by_default" {
  command = plan
  variables {
    github = null
    budget = null
  }
  assert {
    condition     = length(timescale_service.marquee) + length(grafana_folder.marquee) + length(module.confluent) + length(google_billing_budget.month) + length(google_iam_workload_identity_pool.github) == 0
    error_message = "An optional part exists by default."
  }
}
