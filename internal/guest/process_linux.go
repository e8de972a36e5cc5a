package guest

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// niceness of children and what they run: a busy machine must still
	// answer its peers.
	niceness = 10
	// killDeadline bounds the ending of a task's processes.
	killDeadline = 10 * time.Second
)

// lowerPriority is for the start of a child. On Linux it is a thread's
// property; the process group holds all threads of this process.
func lowerPriority() {
	_ = unix.Setpriority(unix.PRIO_PGRP, 0, niceness)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// adoptOrphans makes processes whose parent ended our children, also those
// that left their session, so that they can be found and ended.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// keepFilesToOurselves lets nothing that this process has open, also what the
// node's own parent left open, reach a command.
func keepFilesToOurselves() {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	for fd := 3; fd < 1024; fd++ { // Linux before 5.11
		syscall.CloseOnExec(fd)
	}
}

// ownBinary is the file that this process runs, also when another one has taken
// its place on disk: parent and child must be of one version.
func ownBinary() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}

// ownGroup keeps signals of the terminal away from a child. It needs no death
// signal: it ends itself, and first what it started, when its pipe ends.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// dieWithThread is for a command: when its starter is killed, it dies too.
func dieWithThread() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// dieWithParent binds this goroutine to a thread and has the process killed
// when its parent ends, until the function it returns is called. Compiled code
// can stop a process from noticing anything by itself.
func dieWithParent() (release func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
		runtime.UnlockOSThread()
	}
}

func growPipe(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

func maxResident(u *syscall.Rusage) int64 { return u.Maxrss << 10 }

// killAll ends every descendant of this process, the process group of sh among
// them, and reaps them, except that sh itself is left to whoever waits for it.
// It reports whether none is left.
func killAll(group int) bool {
	deadline := time.Now().Add(killDeadline)
	for pause := 100 * time.Microsecond; hasChildren(); pause = min(2*pause, 10*time.Millisecond) {
		all := descendants()
		if len(all) == 1 && all[0].pid == group && all[0].zombie {
			return true
		}
		killEach(all, group)
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

func killEach(all []process, group int) {
	for _, p := range all {
		if p.group == group {
			// All of a group at once: not even a fork bomb gets away.
			_ = unix.Kill(-group, unix.SIGKILL)
			break
		}
	}
	for _, p := range all {
		if !p.zombie {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		} else {
			reap(p, group)
		}
	}
}

// reap takes the exit status of an orphan that has ended.
func reap(p process, group int) {
	if p.pid != group && p.parent == os.Getpid() {
		_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
	}
}

// hasChildren reports whether this process has any child, which takes one
// system call. Every descendant hangs below one.
func hasChildren() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return !errors.Is(err, unix.ECHILD)
}

// resident is the resident memory of all descendants of this process, in
// bytes. It also reaps orphans that have ended.
func resident(group int) int64 {
	var pages int64
	for _, p := range descendants() {
		if p.zombie {
			reap(p, group)
			continue
		}
		pages += p.pages
	}
	return pages * int64(os.Getpagesize())
}

type process struct {
	pid, parent, group int
	zombie             bool
	pages              int64 // resident
}

// descendants walks /proc; the shorter way through its "children" files is
// missing in many kernels.
func descendants() []process {
	self := os.Getpid()
	children := map[int][]process{}
	for _, pid := range processes() {
		if p, ok := readProcess(pid); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	found := children[self]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// readProcess reads /proc/PID/stat, see proc(5): after the name, which is in
// parentheses and may hold anything, come state, parent,
// process group and, 19 fields on, the resident pages.
func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	group, err2 := strconv.Atoi(fields[2])
	pages, err3 := strconv.ParseInt(fields[21], 10, 64)
	ended := fields[0] == "Z" || fields[0] == "X"
	return process{pid, parent, group, ended, pages}, errors.Join(err, err2, err3) == nil
}

// killHomes ends every process whose home, or folder, is folder or below it: what a child
// that was itself killed has left behind.
func killHomes(folder string) {
	marks := [][]byte{[]byte("HOME=" + folder), []byte(folderVar + "=" + folder)}
	for _, pid := range processes() {
		env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil || pid == os.Getpid() {
			continue
		}
		for kv := range bytes.SplitSeq(env, []byte{0}) {
			for _, mark := range marks {
				if rest, ok := bytes.CutPrefix(kv, mark); ok && (len(rest) == 0 || rest[0] == '/') {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		}
	}
}
