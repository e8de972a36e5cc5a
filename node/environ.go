package node

import (
	"context"

	"github.com/meshnode/meshnode/internal/task"
)

// Getenv is the value of an environment variable of the task whose Func was
// given ctx: of those in JobSpec.Env, and of MESHNODE_JOB, MESHNODE_STAGE and
// MESHNODE_TASK, which say what it runs for. It is "" when there is none.
func Getenv(ctx context.Context, name string) string { return task.Getenv(ctx, name) }
