package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/models/bundle"
)

type dataCmd struct {
	Inspect dataInspectCmd `cmd:"" help:"Say what a set of labelled images holds: kind, size, classes, pixels; write a contact sheet."`
}

type dataInspectCmd struct {
	Path     string `arg:"" help:"A folder of IDX files (MNIST), of CIFAR's binary files, or of images, with a subfolder for each class (perhaps below train and test) or without classes; or one IDX, CIFAR or .npz file."`
	Split    string `help:"train, test or all. Default: train where there are splits." enum:",train,test,all" default:"" placeholder:"SPLIT"`
	Size     int    `help:"Crop and scale every image to a square of N pixels, as DiT prepares its training images. Default: as they are." placeholder:"N"`
	Channels int    `help:"1 grey or 3 RGB. Default: as they are." placeholder:"N"`
	Skip     bool   `aliases:"skip-broken" help:"Report broken files and continue without them."`
	Out      string `short:"o" help:"Write a contact sheet with up to 10 images of each class." placeholder:"FILE.png"`
	JSON     bool   `name:"json" help:"Print one JSON object on standard output."`
}

// maxMeasured is the number of images that mean and standard deviation are taken over at most.
const maxMeasured = 10_000

func (c *dataInspectCmd) Run(a *app) error { return skippable(c.run(a), "--skip") }

// skippable adds to the error of a broken file the flag that leaves such files out.
func skippable(err error, flag string) error {
	var broken *data.BrokenError
	if errors.As(err, &broken) {
		return fmt.Errorf("%w (%s leaves out what is broken)", err, flag)
	}
	return err
}

// openData opens a data set, and says which files of a folder are passed over, and which are
// skipped if broken ones are.
func (a *app) openData(path string, o data.Options, skip bool) (*data.Set, error) {
	o.Skip, o.Warn = skip, func(err error) { a.note("skipped: %v", err) }
	set, err := data.Open(a.ctx, path, o)
	if err != nil {
		return nil, orModel(path, err)
	}
	a.notePassedOver(path, set)
	return set, nil
}

// orModel returns an error, or that a model's name was given where images are wanted.
func orModel(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && bundle.Lookup(path) != nil {
		return fmt.Errorf("%s is a bundled model, not a set of images: inspect %s describes it", path, path)
	}
	return err
}

// notePassedOver says what of a folder is not read.
func (a *app) notePassedOver(path string, set *data.Set) {
	if len(set.PassedOver) > 0 {
		a.note("%s: passed over %s", path, set.PassedOver)
	}
	for _, remark := range set.Remarks {
		a.note("%s: %s", path, remark)
	}
}

func (c *dataInspectCmd) run(a *app) error {
	if c.Out != "" && !strings.EqualFold(filepath.Ext(c.Out), ".png") {
		return fmt.Errorf("--out %s: want a name ending in .png", c.Out)
	}
	if c.Out != "" {
		if err := atomicfile.Prepare(c.Out); err != nil {
			return err
		}
	}
	set, err := data.Open(a.ctx, c.Path, data.Options{
		Split:    c.Split,
		Size:     c.Size,
		Channels: c.Channels,
		Skip:     c.Skip,
		Warn:     func(err error) { a.note("skipped: %v", err) },
	})
	if err != nil {
		return orModel(c.Path, err)
	}
	defer set.Close()
	summary, err := set.Summary(maxMeasured)
	if err != nil {
		return err
	}
	if c.Out != "" {
		sheet, err := set.Sheet()
		if err != nil {
			return err
		}
		if err := raster.WritePNG(c.Out, (*raster.Image)(sheet)); err != nil {
			return err
		}
	}
	summary.Sheet = c.Out
	if c.JSON {
		return a.printJSON(summary)
	}
	return summary.Write(a.stdout)
}
