package guest

import (
	"os"
	"strings"
)

const (
	// defaultPath is for a node that was started without a PATH.
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
	// folderVar names a task's folder to killHomes where HOME does not.
	folderVar = "MESHNODE_FOLDER"
)

// commandEnv is the environment of a command. Of two variables with one name
// the last counts.
func commandEnv(spec taskSpec) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	// The same language everywhere: sort and its like must give on every node
	// what they give on the submitter's.
	env := append([]string{"PATH=" + path, "HOME=" + spec.Folder, "LANG=C.UTF-8"}, spec.Env...)
	for _, e := range spec.Env {
		if strings.HasPrefix(e, "HOME=") {
			return append(env, folderVar+"="+spec.Folder)
		}
	}
	return env
}
