package main

import (
	"cmp"
	"errors"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/shard"
)

// shardFlags divide a run among processes.
type shardFlags struct {
	Shard      string `help:"Generate shard I of K of the run alone, I from 1 to K, as a part in the folder --out: merge joins the parts. Needs --seed. Default: all of it." placeholder:"I/K"`
	ShardIndex string `help:"The same with I from 0 to K-1, as arrays of jobs count. Default: all of it." placeholder:"I/K"`
	Features   string `help:"With --shard: feature network whose statistics the part carries, so that evaluate need not read its pixels, or none. Default: for a bundled model the one that evaluate uses." placeholder:"NAME|PATH"`
}

// noFeatures leaves statistics out.
const noFeatures = "none"

// shard returns which shard of how many is asked for, or 1 of 1.
func (f *shardFlags) shard() (i, k int, err error) {
	switch {
	case f.Shard != "" && f.ShardIndex != "":
		return 0, 0, errors.New("give --shard or --shard-index, not both")
	case f.Shard != "":
		return shard.Parse(f.Shard, 1)
	case f.ShardIndex != "":
		return shard.Parse(f.ShardIndex, 0)
	}
	return 1, 1, nil
}

// checkShard reports flags that do not go together with a shard.
func (c *generateCmd) checkShard() error {
	_, k, err := c.shard()
	switch {
	case err != nil:
		return err
	case k == 1 && c.Features != "":
		return errors.New("--features is for parts of a run: give --shard")
	case k == 1:
		return nil
	case c.Seed == "":
		return errors.New("--shard needs the --seed that all shards have")
	case c.Out == "":
		return errors.New("--shard needs the --out folder of the parts")
	case c.RNG != string(diffusion.RNGOwn):
		return errors.New("--shard: the numbers of --rng torch-cpu are those of whole runs")
	case c.SaveLatents != "" || c.Compare:
		return errors.New("--shard writes a part of the images, and takes no --save-latents or --compare")
	}
	return nil
}

// part returns which part of the run is to be written; nil means all of it.
func (c *generateCmd) part(a *app, p *tokencache.Pipeline, req tokencache.Request) (*output.PartOptions, error) {
	i, k, err := c.shard()
	if err != nil || k == 1 {
		return nil, err
	}
	o := &output.PartOptions{Span: shard.Of(i, k, req.Images())}
	if o.Len() == 0 {
		return nil, errors.New("--shard: there are fewer images than shards")
	}
	o.Outputs, err = c.outputs(a, p, req.Images(), o.First)
	return o, err
}

// outputs returns what computes the statistics of a part, of images from number first on of so
// many; nil if none are wanted.
func (c *generateCmd) outputs(a *app, p *tokencache.Pipeline, of, first int) (
	func(eval.Images) (*eval.Part, error), error,
) {
	name := c.Features
	if b := a.opened.bundle; name == "" && b != nil {
		name = cmp.Or(b.ClassifierOf, b.Name)
	}
	if name == "" || name == noFeatures {
		return nil, nil
	}
	net, err := models.ResolveNetwork(a.here(name), models.NetworkOptions{})
	if err != nil {
		return nil, err
	}
	return func(images eval.Images) (*eval.Part, error) {
		return eval.PredictPart(a.ctx, net.Network, images, first, of, p.Threads())
	}, nil
}
