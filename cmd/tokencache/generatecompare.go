package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
	"github.com/tokencache/tokencache/measure"
)

// compare draws with the policy and without it.
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
		return fmt.Errorf("--compare writes a picture: --out %s: want FILE.png or a folder", c.Out)
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
	if err := writeComparison(path, p.ClassNames(), r); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	quality := "the same pictures"
	if r.PSNR != nil {
		quality = fmt.Sprintf("PSNR %.1f dB", *r.PSNR)
	}
	a.note("%s", req.Policy)
	a.note("%s with it, %s without: %.2f times as fast, %.2f times fewer FLOPs; %s; %d I-steps, %s, cache of %.1f MB",
		seconds(r.WallSeconds), seconds(r.UncachedWallSeconds), r.Speedup, float64(r.UncachedFLOPs)/float64(r.FLOPs), quality, r.ISteps, pSteps(r.PSteps, r.HalfSteps), float64(r.CacheBytes)/(1<<20))
	a.note("wrote %s", path)
	return nil
}

// writeComparison writes a sheet in which each picture without the policy stands beside the one with it.
func writeComparison(path string, names []string, r *measure.Comparison) error {
	const most, pairs = 40, 4
	sheet := sheet.Layout{Columns: 2 * pairs}
	for range pairs {
		sheet.Heads = append(sheet.Heads, "uncached", "policy")
	}
	var pictures []*raster.Image
	for i := range min(len(r.Cached), most) {
		if i%pairs == 0 && names != nil {
			var row []string // what it shows
			for _, m := range r.Cached[i:min(i+pairs, len(r.Cached))] {
				row = append(row, classes.Short(names[m.Class]))
			}
			sheet.Rows = append(sheet.Rows, strings.Join(slices.Compact(row), ", "))
		}
		for _, m := range []tokencache.Image{r.Uncached[i], r.Cached[i]} {
			pictures = append(pictures, &raster.Image{Height: m.Height, Width: m.Width, Channels: m.Channels, Pix: m.Pixels})
		}
	}
	m, err := sheet.Render(pictures)
	if err != nil {
		return err
	}
	return raster.WritePNG(path, m)
}
