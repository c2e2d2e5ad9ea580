package main

import (
	"context"
	"errors"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/jobs"
)

type jobsWorkCmd struct {
	jobsrun.Broker
	Threads int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	Idle    time.Duration `help:"End after so long without a shard to do. Default: never." placeholder:"TIME"`
	DTypes  []string      `name:"dtypes" help:"Number formats of which to take work: f32, bf16, int8. Default: all." placeholder:"NAME,..."`
	Cache   string        `help:"Folder for files of models and policies that jobs have sent and this machine does not have. Default: one in the user's folder for caches." placeholder:"DIR"`
	MaxSize int64         `name:"cache-size" help:"Gigabytes that they may have." default:"50" placeholder:"GB"`
	Scratch string        `help:"Folder for what is being made. Default: one in the system's folder for temporary files." placeholder:"DIR"`
	OfRun   bool          `hidden:"" help:"It was started by jobs run, which ends it: it says nothing then."`
}

func (c *jobsWorkCmd) Run(a *app) error {
	err := c.work(a)
	if c.OfRun && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (c *jobsWorkCmd) work(a *app) error {
	q, closeQueue, err := c.Queue(a.ctx)
	if err != nil {
		return err
	}
	defer closeQueue()
	images := jobsrun.NewImages(a.openRun(c.Threads))
	defer images.Close()
	commands := jobsrun.NewCommands(a.openTasks(c.Threads))
	defer commands.Close()
	w := jobsrun.Worker{
		Threads: c.Threads,
		Idle:    c.Idle,
		Scratch: c.Scratch,
		Maker:   images,
		Kind:    commands,
		DTypes:  c.DTypes,
		Cache:   jobs.Cache{Dir: c.Cache, Size: c.MaxSize << 30},
		Note:    a.note,
	}
	return w.Run(a.ctx, q)
}

// openRun returns what opens the runs of jobs; with a number of threads, unless it is 0.
func (a *app) openRun(threads int) jobsrun.OpenRun {
	return func(args []string, local map[string]string) (*jobsrun.Run, error) {
		a.local = local
		c, command, err := parseCommand(append([]string{"generate"}, args...))
		if err != nil {
			return nil, err
		}
		g := &c.Generate
		_, k, err := g.shard()
		switch {
		case err != nil:
			return nil, err
		case g.Seed == "" || g.RNG != string(diffusion.RNGOwn):
			return nil, errors.New("generate's flags: a job needs --seed, and --rng own")
		case k > 1 || g.Out != "" || g.Compare || g.SaveLatents != "" || g.Resume || g.Overwrite:
			return nil, errors.New("generate's flags: a job has its own --shard and --out, and takes no --compare, " +
				"--save-latents, --resume or --overwrite")
		}
		if threads > 0 {
			g.Threads = threads
		}
		p, req, err := g.open(a)
		if err != nil {
			return nil, err
		}
		sent, _ := inputs(command)
		outputs := func(first int) (func(eval.Images) (*eval.Part, error), error) {
			return g.outputs(a, p, req.Images(), first)
		}
		return &jobsrun.Run{
			Pipeline: p,
			Request:  req,
			Labels:   g.Labels,
			Noise:    g.Noise,
			Inputs:   sent,
			Outputs:  outputs,
		}, nil
	}
}
