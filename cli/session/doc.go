// Package session is a session as the developer's machine sees it: it checks
// that one can be had, makes the Session resource, follows what the operator
// says of it, renews its Lease and ends it.
//
// It holds nothing and restores nothing: that is the operator's, and goes on
// when this machine is gone. What is kept in memory only is the private key of
// the tunnel.
package session
