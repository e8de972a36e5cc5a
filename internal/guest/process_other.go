//go:build unix && !linux

package guest

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const niceness = 10

// Without Linux's subreapers, death signals and /proc, what holds is: a
// command's process group is ended with it, and a child ends when its parent
// does. A process that leaves its group survives, memory of commands is not
// watched, and a wasm module in an endless loop outlives a killed node.

func lowerPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) }

func ownBinary() (string, error) { return os.Executable() }

func adoptOrphans() {}

func keepFilesToOurselves() {
	for fd := 3; fd < 1024; fd++ {
		syscall.CloseOnExec(fd)
	}
}

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func dieWithThread() *syscall.SysProcAttr { return ownGroup() }

func dieWithParent() (release func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

func growPipe(*os.File) {}

func maxResident(u *syscall.Rusage) int64 { return int64(u.Maxrss) }

func killAll(group int) bool {
	if group > 0 {
		_ = unix.Kill(-group, unix.SIGKILL)
	}
	return true
}

func resident(int) int64 { return 0 }

func killHomes(string) {}
