# An internal Network Load Balancer in front of gateways, for uploads and tunnels. From AWS' documentation; it was not deployed by the
# project. What the gateways need beside it:
#   drain_grace = "30 s"                                two health checks of 10 s, and some room
#   proxy_protocol_from = [the subnets of the NLB]      in each listener, for uploads and for tunnels
#   [admin] listen on the interface's address, probes_from = [the subnets of the NLB]
variable "vpc_id" { type = string }
variable "subnet_ids" { type = list(string) }
variable "instance_ids" { type = list(string) }
variable "admin_port" {
  type    = number
  default = 8449
}
variable "affinity" {
  description = "false: any gateway, which needs dedup.kind = \"redis\". true: repetitions are found in a gateway's own memory."
  type        = bool
  default     = false
}

locals {
  ports   = { uploads = 8443, tunnels = 8080 }
  targets = { for pair in setproduct(keys(local.ports), var.instance_ids) : "${pair[0]}-${pair[1]}" => pair }
}

resource "aws_lb" "gatepost" {
  name               = "gatepost"
  internal           = true
  load_balancer_type = "network"
  subnets            = var.subnet_ids
}

resource "aws_lb_target_group" "gatepost" {
  for_each = local.ports
  name     = "gatepost-${each.key}"
  vpc_id   = var.vpc_id
  port     = each.value
  protocol = "TCP"

  # Hosts are named in a PROXY header, whichever way their packets take; so their addresses need not be kept on the network.
  proxy_protocol_v2  = true
  preserve_client_ip = "false"

  # Connections that stand live on: the gateway tells its clients to connect anew.
  deregistration_delay   = 300
  connection_termination = false
  target_health_state { enable_unhealthy_connection_termination = false }

  health_check {
    protocol            = "HTTP"
    port                = var.admin_port
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  stickiness {
    type    = "source_ip"
    enabled = var.affinity
  }
}

resource "aws_lb_listener" "gatepost" {
  for_each          = local.ports
  load_balancer_arn = aws_lb.gatepost.arn
  port              = each.value
  protocol          = "TCP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gatepost[each.key].arn
  }
}

resource "aws_lb_target_group_attachment" "gatepost" {
  for_each         = local.targets
  target_group_arn = aws_lb_target_group.gatepost[each.value[0]].arn
  target_id        = each.value[1]
}

output "address" { value = aws_lb.gatepost.dns_name }
