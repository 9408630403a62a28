package network

import "testing"

func TestPlanIsConsistent(t *testing.T) {
	ranges := map[string]struct{ overlaps bool }{
		"machines and pods":     {Machines.Overlaps(Pods)},
		"machines and services": {Machines.Overlaps(Services)},
		"pods and services":     {Pods.Overlaps(Services)},
	}
	for name, pair := range ranges {
		if pair.overlaps {
			t.Errorf("%s overlap", name)
		}
	}
	for i, node := range Nodes {
		if !Machines.Contains(node.Address) || node.Address == Control {
			t.Errorf("%s has the address %s", node.Name, node.Address)
		}
		if !Pods.Contains(node.Pods.Addr()) {
			t.Errorf("the pods of %s (%s) are not within %s", node.Name, node.Pods, Pods)
		}
		for _, other := range Nodes[:i] {
			if other.Address == node.Address || other.Pods.Overlaps(node.Pods) {
				t.Errorf("%s and %s share addresses", node.Name, other.Name)
			}
		}
	}
}

func TestRoutes(t *testing.T) {
	for _, machine := range []string{ControlName, "node-1", "node-2"} {
		reached := map[string]bool{}
		defaults := 0
		for _, route := range Routes(machine) {
			if route.To.Bits() == 0 {
				defaults++
				continue
			}
			reached[route.To.String()] = true
		}
		for _, node := range Nodes {
			if want := node.Name != machine; reached[node.Pods.String()] != want {
				t.Errorf("%s has a route to the pods of %s: %v, want %v", machine, node.Name, !want, want)
			}
		}
		want := 1
		if machine == ControlName {
			want = 0 // a default route there would lead out of the cluster
		}
		if defaults != want {
			t.Errorf("%s has %d default routes, want %d", machine, defaults, want)
		}
	}
}
