// Command coredns answers for the services of a cluster and for nothing else: none of the plugins that would bring in
// the clients of clouds. It runs in the image that tests/support/rigs/cluster makes of it.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// The order in which a query passes through the plugins.
	dnsserver.Directives = []string{"ready", "errors", "kubernetes"}
	coremain.Run()
}
