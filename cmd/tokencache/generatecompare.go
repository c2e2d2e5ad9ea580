package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/measure"
)

// compare generates with the policy and without it.
func (c *generateCmd) compare(a *app, p *tokencache.Pipeline, req tokencache.Request) error {
	if c.Repeat < 1 {
		return fmt.Errorf("--repeat %d: want 1 or more", c.Repeat)
	}
	path := c.Out
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png":
	case "":
		path = filepath.Join(path, "compare.png")
	default:
		return fmt.Errorf("--compare writes an image: --out %s: want FILE.png or a folder", c.Out)
	}
	bar := a.newProgress("comparing")
	images := float64(2 * c.Repeat * len(req.Classes))
	done := 0.0
	req.OnStep = func(s tokencache.Progress) {
		done += 1 / float64(s.Steps)
		bar.set(done, images)
	}
	r, err := measure.Compare(a.ctx, p, req, c.Repeat)
	bar.finish()
	if err != nil {
		return err
	}
	pairs := output.Pairs{
		Kinds:   [2]string{"uncached", req.Policy.String()},
		Classes: req.Classes,
		Names:   p.ClassNames(),
	}
	for i := range r.Cached {
		pairs.Images = append(pairs.Images, [2]*raster.Image{rasterOf(r.Uncached[i]), rasterOf(r.Cached[i])})
	}
	if err := pairs.Write(path); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	quality := "the same images"
	if r.PSNR != nil {
		quality = fmt.Sprintf("PSNR %.1f dB", *r.PSNR)
	}
	a.note("%s", req.Policy)
	a.note("%s with it, %s without: %.2f times as fast, %.2f times fewer FLOPs; %s; %d I-steps, %s, cache of %.1f MB",
		seconds(r.WallSeconds), seconds(r.UncachedWallSeconds), r.Speedup, float64(r.UncachedFLOPs)/float64(r.FLOPs),
		quality, r.ISteps, pSteps(r.PSteps, r.HalfSteps), float64(r.CacheBytes)/(1<<20))
	a.note("wrote %s", path)
	return nil
}
