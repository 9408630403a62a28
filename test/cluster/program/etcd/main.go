// Command etcd is the key-value store of the test cluster's control plane.
//
// Upstream's own main lives in a module that replaces its siblings by folders,
// so it can not be built as a dependency; this is the same program.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
