# Separate from grafana.tf, because checkov cannot read a block with an argument named `for` (bridgecrewio/checkov#7526).

resource "grafana_rule_group" "this" {
  for_each         = local.rules
  name             = each.key
  folder_uid       = grafana_folder.marquee[0].uid
  interval_seconds = tonumber(regex("^[0-9]+", each.value.interval)) * local.seconds[regex("[smh]$", each.value.interval)]

  dynamic "rule" {
    for_each = each.value.rules
    content {
      uid            = rule.value.uid
      name           = rule.value.title
      condition      = rule.value.condition
      for            = try(rule.value.for, "0s")
      no_data_state  = try(rule.value.noDataState, "NoData")
      exec_err_state = try(rule.value.execErrState, "Error")
      annotations    = try(rule.value.annotations, {})
      labels         = merge(try(rule.value.labels, {}), { app = "marquee" })

      dynamic "data" {
        for_each = rule.value.data
        content {
          ref_id         = data.value.refId
          datasource_uid = data.value.datasourceUid
          query_type     = try(data.value.queryType, "")
          model          = jsonencode(data.value.model)
          relative_time_range {
            from = try(data.value.relativeTimeRange.from, 600)
            to   = try(data.value.relativeTimeRange.to, 0)
          }
        }
      }
    }
  }
}
