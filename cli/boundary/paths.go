package boundary

// systemPaths are this machine's in every mode, with all that is in them: what
// programs are made of and run on, and what is the user's own. What the pod has
// in their place is for its own programs.
var systemPaths = []string{
	"/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/nix", "/opt",
	"/proc", "/root", "/run", "/sbin", "/selinux", "/snap", "/sys", "/tmp", "/usr",
}

// corePaths are what no expression takes from this machine: without them none of
// its programs starts.
var corePaths = []string{
	"/bin", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys",
	"/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/sbin",
}

// sharedPaths are folders that every system has for its own use: only what this
// machine lacks in them is the pod's.
var sharedPaths = []string{"/media", "/mnt", "/srv", "/var", "/var/lib", "/var/local", "/var/opt"}

// ownNames in /etc are never taken from the pod by a pattern: the stage has its
// own, or they say who the user is.
var ownNames = []string{"/etc/group", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/nsswitch.conf", "/etc/passwd", "/etc/resolv.conf"}
