// An internal Azure Load Balancer (Standard) in front of gateways, for uploads and tunnels.
//   az deployment group create --resource-group RG --template-file load-balancer.bicep --parameters subnetId=...
// then put each gateway's network interface into the backend pool `gateways`. From Azure's documentation; it was not deployed by the
// project. What the gateways need beside it:
//   drain_grace = "15 s"                    two probes of 5 s, and some room
//   [admin] listen on the interface's address, probes_from = ["168.63.129.16/32"]
// Hosts keep their addresses, so no PROXY header: leave proxy_protocol_from out.
param location string = resourceGroup().location
param name string = 'gatepost'
@description('The subnet in which agents find the gateways.')
param subnetId string
@description('None: any gateway, which needs dedup.kind = "redis". SourceIP: affinity; repetitions are found in a gateway\'s own memory.')
@allowed(['None', 'SourceIP'])
param affinity string = 'None'
param uploadsPort int = 8443
param tunnelsPort int = 8080
param adminPort int = 8449

var frontend = resourceId('Microsoft.Network/loadBalancers/frontendIPConfigurations', name, 'agents')
var pool = resourceId('Microsoft.Network/loadBalancers/backendAddressPools', name, 'gateways')
var ready = resourceId('Microsoft.Network/loadBalancers/probes', name, 'ready')

resource balancer 'Microsoft.Network/loadBalancers@2024-05-01' = {
  name: name
  location: location
  sku: { name: 'Standard' }
  properties: {
    frontendIPConfigurations: [{ name: 'agents', properties: { subnet: { id: subnetId } } }]
    backendAddressPools: [{ name: 'gateways' }]
    probes: [
      {
        name: 'ready'
        properties: { protocol: 'Http', port: adminPort, requestPath: '/readyz', intervalInSeconds: 5, probeThreshold: 2 }
      }
    ]
    loadBalancingRules: [
      for rule in [{ name: 'uploads', port: uploadsPort }, { name: 'tunnels', port: tunnelsPort }]: {
        name: rule.name
        properties: {
          frontendIPConfiguration: { id: frontend }
          backendAddressPool: { id: pool }
          probe: { id: ready }
          protocol: 'Tcp'
          frontendPort: rule.port
          backendPort: rule.port
          enableFloatingIP: false
          loadDistribution: affinity == 'None' ? 'Default' : 'SourceIP'
          // An idle connection is reset and not forgotten: both sides know.
          idleTimeoutInMinutes: 30
          enableTcpReset: true
        }
      }
    ]
  }
}

output address string = balancer.properties.frontendIPConfigurations[0].properties.privateIPAddress
