package main

import (
	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/summary"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/terminal"
	"github.com/tokencache/tokencache/measure"
	"github.com/tokencache/tokencache/models"
)

// demoCmd compares the bundled model's default policy with the uncached model, on a few images.
type demoCmd struct {
	Count     int    `short:"n" help:"Images, 1 to 10." default:"8"`
	Seed      uint64 `short:"s" help:"Seed of the random numbers." default:"4"`
	Out       string `short:"o" once:"" help:"Where to write the images next to each other: FILE.png or a folder. Default: a new folder, out/0001, out/0002, ..." placeholder:"DIR|FILE"`
	Overwrite bool   `help:"Replace an image that is there in --out."`
	NoOpen    bool   `help:"Do not open the image, which happens only on a terminal with a display."`
	Threads   int    `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool   `name:"json" help:"Print one JSON object on standard output."`
}

func (c *demoCmd) Help() string {
	return `It takes about 10 seconds on two cores. What it does is, with more to say of the result:
  tokencache generate --model fashion --compare --repeat 1 --count 8 --seed 4`
}

func (c *demoCmd) Run(a *app) error {
	if c.Count < 1 || c.Count > 10 {
		return &tokencache.FieldError{Field: "Count", Value: c.Count, Want: "1 to 10"}
	}
	p, req, err := models.Open(models.Default, tokencache.Options{Threads: c.Threads})
	if err != nil {
		return err
	}
	defer p.Close()
	classes := []int{0, 1, 2, 3, 5, 7, 8, 9, 4, 6} // those that look alike last
	req.Classes, req.Seed = classes[:c.Count], c.Seed
	file, discard, err := output.PreparePairs(c.Out, c.Overwrite)
	if err != nil {
		return err
	}
	defer discard()
	a.note("generating %d images twice, with and without a cache policy", c.Count)
	bar := a.newProgress("generating")
	done, all := 0.0, float64(2*c.Count)
	req.OnStep = func(s tokencache.Progress) {
		done += 1 / float64(s.Steps)
		bar.Set(done, all)
	}
	r, err := measure.Compare(a.ctx, p, req, 1)
	bar.Finish()
	if err != nil {
		return err
	}
	kinds := [2]string{"every step computed", req.Policy.String()}
	pairs := output.PairsOf(p, req, summary.Captions(r, kinds), r.Uncached, r.Cached)
	if err := pairs.Write(file); err != nil {
		return err
	}
	if c.JSON {
		s := summary.OfPairs(p, req, r)
		s.Model, s.Files = models.Default, []string{file}
		return a.printJSON(s)
	}
	opened := !c.NoOpen && terminal.Show(terminal.Viewer(a.raw), file)
	return summary.WriteDemo(a.stdout, r, req.Policy, file, opened)
}
