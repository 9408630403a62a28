package apitest

import "syscall"

// endsWithParent makes a program end with the tests, however they end.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
