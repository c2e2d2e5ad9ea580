package main

import (
	"fmt"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/load"
)

type benchServeCmd struct {
	Model    string        `short:"m" help:"Bundled model: ${models}." default:"${model}"`
	Duration time.Duration `help:"How long requests arrive." default:"60s"`
	Load     float64       `help:"Rate of arrivals over the capacity, which is measured first." default:"1.2"`
	Clients  int           `help:"Max requests in hand at a time. One that arrives then is counted and not sent." default:"64"`
	Aborts   float64       `help:"Share of the requests that are given up." default:"0.1"`
	Queue    time.Duration `help:"As serve takes it." default:"20s"`
	Threads  int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	Policy   string        `help:"Policy of all requests, instead of a mixture." placeholder:"NAME"`
	Steps    int           `help:"With --policy: steps of all requests. Default: as many as is usual." placeholder:"N"`
	Seed     uint64        `help:"Of the times of arrival." default:"1"`
	JSON     bool          `name:"json" help:"Print one JSON object on standard output."`
}

func (c *benchServeCmd) Run(a *app) error {
	if c.Duration <= 0 || !(c.Load > 0 && c.Load < 1000) || c.Clients < 1 || !(c.Aborts >= 0 && c.Aborts < 1) || c.Queue <= 0 {
		return fmt.Errorf("--duration %v, --load %g, --clients %d, --aborts %g, --queue %v: want more than 0 each, and "+
			"aborts below 1",
			c.Duration, c.Load, c.Clients, c.Aborts, c.Queue)
	}
	r, err := load.Run(a.ctx, load.Options{
		Model:    c.Model,
		Duration: c.Duration,
		Load:     c.Load,
		Clients:  c.Clients,
		Aborts:   c.Aborts,
		Queue:    c.Queue,
		Threads:  c.Threads,
		Policy:   c.Policy,
		Steps:    c.Steps,
		Seed:     c.Seed,
		OnStage:  func(what string) { a.note("%s", what) },
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	a.note("%s", r)
	return nil
}
