//go:build !linux

package apitest

import "syscall"

func endsWithParent() *syscall.SysProcAttr { return nil }
