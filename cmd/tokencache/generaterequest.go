package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/models/bundle"
	"github.com/tokencache/tokencache/reuse"
)

// maxByDefault bounds the images that are generated where neither classes nor a count are given.
const maxByDefault = 16

// options returns how to open the model.
func (c *generateCmd) options() tokencache.Options {
	return tokencache.Options{
		VAE:         c.VAE,
		Key:         c.Key,
		Threads:     c.Threads,
		Heads:       c.Heads,
		InputSize:   c.InputSize,
		DecodeLayer: c.Decode,
	}
}

// request returns what the flags ask for.
func (c *generateCmd) request(a *app, p *tokencache.Pipeline, s tokencache.Sampling, seed uint64) (
	tokencache.Request, error,
) {
	if c.CacheMem < 0 {
		return tokencache.Request{}, fmt.Errorf("--cache-memory %d: want 0 or more", c.CacheMem)
	}
	req := tokencache.Request{
		Seed:        seed,
		Sampling:    s,
		CacheMemory: int64(c.CacheMem) << 20,
		Batch:       c.Batch,
	}
	var err error
	if req.Classes, err = c.classes(p); err != nil {
		return tokencache.Request{}, err
	}
	if req.Policy, err = c.policy(a, s); err != nil {
		return tokencache.Request{}, err
	}
	if c.Noise != "" {
		req.Noise, err = output.ReadNoise(c.Noise)
	}
	return req, err
}

// classes returns the class of each image.
func (c *generateCmd) classes(p *tokencache.Pipeline) ([]int, error) {
	if c.Count < 0 {
		return nil, fmt.Errorf("--count %d: want 1 or more", c.Count)
	}
	chosen, count := classes.All(p.Config().NumClasses), c.Count
	if len(c.Class) > 0 {
		var err error
		if chosen, err = p.SelectClasses(c.Class); err != nil {
			return nil, err
		}
		if count == 0 {
			count = len(chosen)
		}
	}
	if count == 0 {
		count = min(len(chosen), maxByDefault)
	}
	return classes.Cycle(chosen, count), nil
}

// policy returns what is to be reused: as asked for, or what is bundled with the model.
func (c *generateCmd) policy(a *app, s tokencache.Sampling) (reuse.Policy, error) {
	speed, err := parseSpeed(c.Speed)
	switch {
	case err != nil:
		return nil, err
	case c.Policy != "" && c.Speed != "":
		return nil, errors.New("give --policy or --speed, not both")
	case c.Policy != "":
		return a.policy(string(c.Policy))
	}
	t, err := a.opened.bundle.Choose(s, speed)
	none := (*bundle.NoPolicyError)(nil)
	switch {
	case err == nil:
		return t, nil
	case !errors.As(err, &none):
		return nil, err
	case speed != 0:
		return nil, fmt.Errorf("--speed %s: %w; make one with %s", c.Speed, err, a.calibrateCommand(speed))
	case none.Model != "":
		a.note("uncached: %v; make one with %s", err, a.calibrateCommand(0))
	}
	return reuse.None{}, nil
}

// parseSpeed reads a speed such as 2.4x; an empty text is 0.
func parseSpeed(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(speed > 1 && speed < 1000) {
		return 0, fmt.Errorf("--speed %s: want a number above 1, such as 2.4x", text)
	}
	return speed, nil
}

// seed returns the seed that is asked for, or a random one.
func (c *generateCmd) seed() (uint64, error) {
	if c.Seed == "" {
		if c.Resume {
			return 0, errors.New("--resume needs the --seed of the run that was interrupted")
		}
		return uint64(rand.Uint32()), nil
	}
	seed, err := strconv.ParseUint(c.Seed, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed %s: want a whole number from 0 to 2^64-1", c.Seed)
	}
	return seed, nil
}

// provenance returns what the images' files say of the run.
func (c *generateCmd) provenance(p *tokencache.Pipeline, req tokencache.Request) output.Provenance {
	return output.Provenance{
		Model:       p.Config().Name(),
		Fingerprint: p.Fingerprint(),
		Seed:        req.Seed,
		Sampling:    req.Sampling,
		Policy:      req.Policy.String(),
		Level:       p.Level(),
		Batch:       req.Batch,
		Noise:       c.Noise,
	}
}
