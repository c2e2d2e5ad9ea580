package train

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/classes"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/internal/sheet"
	"github.com/tokencache/tokencache/report"
)

// LossFigure draws curves of the log of the run in dir to a PNG file at path: names has the title
// of each measure to draw, where the log has it. Without a log it draws nothing.
func LossFigure(dir, path string, names map[string]string) error {
	steps, err := ReadLog(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var curves []report.Curve
	for _, measure := range slices.Sorted(maps.Keys(names)) {
		curve := report.Curve{Name: names[measure]}
		for _, s := range steps {
			if v, ok := s.Measures[measure]; ok {
				curve.Steps, curve.Values = append(curve.Steps, s.Step), append(curve.Values, v)
			}
		}
		if len(curve.Steps) > 0 {
			curves = append(curves, curve)
		}
	}
	if len(curves) == 0 {
		return nil
	}
	return report.LossCurve(path, curves[0], curves[1:]...)
}

// SampleEvery returns a function that writes a SampleGrid of the run in dir to a PNG file at path,
// unless it has done so within the last interval and now is false. It does nothing if the interval
// is 0, if ctx is done, or if the run's model, of configuration c, generates latents instead of
// images.
func SampleEvery(
	interval time.Duration,
	c dit.Config,
	dir, path string,
	o GridOptions,
) func(ctx context.Context, now bool) error {
	if pixels := c.InChannels == 1 || c.InChannels == 3; !pixels {
		interval = 0
	}
	return every(interval, func(ctx context.Context) error { return SampleGrid(ctx, dir, path, o) })
}

// SampleTextEvery is SampleEvery of a text-to-image model, for a TextGrid.
func SampleTextEvery(
	interval time.Duration,
	dir, path string,
	prompts []string,
	o GridOptions,
) func(ctx context.Context, now bool) error {
	return every(interval, func(ctx context.Context) error { return TextGrid(ctx, dir, path, prompts, o) })
}

// every returns f as SampleEvery says.
func every(interval time.Duration, f func(ctx context.Context) error) func(ctx context.Context, now bool) error {
	var last time.Time
	return func(ctx context.Context, now bool) error {
		if interval == 0 || !now && time.Since(last) < interval || ctx.Err() != nil {
			return nil
		}
		err := f(ctx)
		last = time.Now()
		return err
	}
}

// GridOptions says what images a SampleGrid has.
type GridOptions struct {
	Guidance float64
	Threads  int // worker threads; 0: all processors
}

// SampleGrid samples images with the averaged weights of the run in dir and writes them to a PNG
// file at path: a row for each class, up to 12.
func SampleGrid(ctx context.Context, dir, path string, o GridOptions) error {
	p, err := tokencache.Open(filepath.Join(dir, ModelFile), tokencache.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	defer p.Close()
	req := tokencache.Request{
		Seed:     1,
		Batch:    8,
		Sampling: tokencache.Sampling{Steps: 25, Guidance: o.Guidance},
	}
	layout := sheet.Layout{Columns: gridColumns}
	for class := range min(p.Classes(), maxGridRows) {
		req.Classes = append(req.Classes, slices.Repeat([]int{class}, gridColumns)...)
		if names := p.ClassNames(); names != nil {
			layout.Rows = append(layout.Rows, classes.Short(names[class]))
		}
	}
	return writeGrid(ctx, p, req, layout, path)
}

// gridColumns and maxGridRows are the size of a grid of samples.
const gridColumns, maxGridRows = 8, 12

// TextGrid is SampleGrid of a text-to-image model: a row for each prompt, up to 12.
func TextGrid(ctx context.Context, dir, path string, prompts []string, o GridOptions) error {
	p, err := tokencache.Open(filepath.Join(dir, ModelFile), tokencache.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	defer p.Close()
	prompts = prompts[:min(len(prompts), maxGridRows)]
	conditions, _, err := p.Prompts(ctx, prompts)
	if err != nil {
		return err
	}
	req := tokencache.Request{
		Seed:     1,
		Batch:    8,
		Sampling: tokencache.Sampling{Sampler: "euler", Steps: 25, Guidance: o.Guidance},
	}
	for _, c := range conditions {
		req.Conditions = append(req.Conditions, slices.Repeat([]tokencache.Condition{c}, gridColumns)...)
	}
	return writeGrid(ctx, p, req, sheet.Layout{Columns: gridColumns, Rows: prompts}, path)
}

// writeGrid writes the images of a request to a PNG file.
func writeGrid(ctx context.Context, p *tokencache.Pipeline, req tokencache.Request, layout sheet.Layout, path string) error {
	r, err := p.Generate(ctx, req)
	if err != nil {
		return err
	}
	var images []*raster.Image
	for _, m := range r.Images {
		images = append(images, &raster.Image{Height: m.Height, Width: m.Width, Channels: m.Channels, Pix: m.Pixels})
	}
	grid, err := layout.Render(images)
	if err != nil {
		return err
	}
	return raster.WritePNG(path, grid)
}
