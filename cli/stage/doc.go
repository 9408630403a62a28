// Package stage makes the place where the local process performs: user,
// network, mount and UTS namespaces in which it sees the pod's network, names
// and files, and otherwise the user's own machine. It needs no root and no
// preloaded library, so any binary works. It knows nothing of Kubernetes: what
// the stage looks like comes in a tunnel.Welcome, and what happens in the pod's
// network is asked of a Remote.
//
// # The processes
//
// One command is five processes. All but the command are the same binary, run
// again in another role; Main, called first in main, catches those.
//
//	shell
//	 └─ front    what the shell started and waits for; in the terminal's foreground
//	     ├─ keeper  own process group: API server, lease, tunnel, TCP/IP stack
//	     ├─ ear     a fork of front, in its group: hears what is sent to the group
//	     └─ hand    in the new namespaces; subreaper; same process group as front
//	         └─ command   the user's, same process group, no capabilities
//
// The front does nothing but stand between shell and command: it stops when the
// command stops, continues it when it is continued, passes on signals that were
// sent to it alone, and exits with the keeper's code. Because the keeper is in
// a process group of its own, Ctrl-Z does not stop it, and the session's lease
// goes on being renewed. Because front, hand and command are in the process
// group that the shell made, the terminal belongs to the command as if the
// shell had started it. A signal that was sent to the group the command has
// got itself; the front tells by asking the ear, and passes on only others.
//
//	front                keeper                      hand                 command
//	  │ Split: fork+exec ──▶│                          │                    │
//	  │ execs itself with   │                          │                    │
//	  │ stop signals blocked│                          │                    │
//	  │──── hello ─────────▶│ Split returns *Front     │                    │
//	  │                     │ (the session is made)    │                    │
//	  │◀── build + socket ──│ Build                    │                    │
//	  │ clone(user,net,mnt,uts) ───────────────────────▶│                    │
//	  │                     │── plan ─────────────────▶│ device, addresses, │
//	  │                     │                          │ root, names, mounts│
//	  │                     │◀── ready + device fd ────│                    │
//	  │                     │ TCP/IP stack on the fd   │                    │
//	  │                     │── run ──────────────────▶│ fork+exec ────────▶│
//	  │                     │◀── listeners, dials ────▶│                    │
//	  │◀──── stopped, continued ───────────────────────│◀── waitid ─────────│
//	  │ stops, continues    │                          │                    │
//	  │──── signal n ─────────────────────────────────▶│── kill ───────────▶│
//	  │                     │                          │◀── exit ───────────│
//	  │                     │◀── exited ───────────────│ kills what is left │
//	  │                     │ (the session is ended)   │
//	  │◀──── exits with the code ──│
//	  exits with it
//
// # When one of them dies
//
// Pids stay the host's: a PID namespace would make a debugger on the host kill
// the wrong process by the number that the command told it. So that all the
// same no descendant outlives the session, there are four nets, one below the
// other. The hand is a
// child subreaper, so daemons come back to it; it kills its descendants until
// none is left when the command has exited or the front is gone. The command
// gets SIGKILL when the hand dies (PDEATHSIG). The front is a subreaper too and
// does the same for a hand that was killed. And the keeper kills every process
// whose user namespace is the stage's or below it: nobody leaves a user
// namespace. A keeper that dies takes the command with it, as its connections
// are gone; the cluster then restores by the lease.
//
// # Privileges
//
// An ordinary user keeps uid and gid, mapped to themselves; root keeps all ids.
// The command starts with empty permitted, effective, inheritable and ambient
// sets, and for root execve gives none back (SECBIT_NOROOT). no_new_privs is
// not set: with one id mapped set-user-ID does nothing, and file capabilities,
// as ping has them, count only inside the stage.
package stage
