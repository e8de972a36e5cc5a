package task

import (
	"context"
	"slices"
	"strings"
)

// The variables by which every program is told what it runs for. Their values
// are the same in every run of a task, so that its results can be.
const (
	jobVar   = "MESHNODE_JOB"   // the job's ID
	stageVar = "MESHNODE_STAGE" // the stage's name, such as map
	taskVar  = "MESHNODE_TASK"  // STAGE/INDEX, such as 0/17
)

// env is the environment of a task's programs: what the job gives them, and
// what they run for.
func (t *running) env() []string {
	given := t.w.Manifest.Env
	return append(given[:len(given):len(given)],
		jobVar+"="+t.w.Job.String(), stageVar+"="+t.stage.Name, taskVar+"="+t.w.Task.String())
}

// envKey is the key under which a function's context holds its environment.
type envKey struct{}

func withEnv(ctx context.Context, env []string) context.Context {
	return context.WithValue(ctx, envKey{}, env)
}

// Getenv is the value of an environment variable of the task whose function
// was given ctx; "" when there is none.
func Getenv(ctx context.Context, name string) string {
	env, _ := ctx.Value(envKey{}).([]string)
	for _, e := range slices.Backward(env) { // the last one counts, as for a command
		if key, value, _ := strings.Cut(e, "="); key == name {
			return value
		}
	}
	return ""
}
