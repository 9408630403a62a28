package command

// supported says whether exec works on this operating system.
func supported() error { return nil }
