package output

import (
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/raster"
	"github.com/tokencache/tokencache/shard"
)

// Merge writes the images of a run whose parts are all there to path, as the process writes them
// that generates them all: an npz file, a folder or a sheet. It returns the paths to show the user.
func Merge(parts *shard.Parts, path string, mode Mode) (files []string, err error) {
	classes, err := parts.Classes()
	if err != nil {
		return nil, err
	}
	run := runOf(parts, classes)
	k, err := kindOf(path)
	switch {
	case err != nil || k == kindNPZ:
		return []string{path}, errors.Join(err, mergeArchive(parts, path, run, mode))
	case k == kindSheet: // which one process writes whole
		mode.Resume = false
	}
	s, err := Open(path, run, mode, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = parts.Each(func(m shard.Image) error {
		if s.Have(m.Index) {
			return nil
		}
		r := &raster.Image{Height: run.Height, Width: run.Width, Channels: run.Channels, Pix: slices.Clone(m.Pixels)}
		return s.Add(m.Index, r, m.Found...)
	})
	if err != nil {
		return nil, err
	}
	return s.Finish()
}

// mergeArchive writes the npz file at path, unless it is there.
func mergeArchive(parts *shard.Parts, path string, run Run, mode Mode) error {
	c, err := claimOutput(path, fileAndState(path), filepath.Dir(path))
	if err != nil {
		return err
	}
	defer c.Release()
	if err := atomicfile.Prepare(path); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	f := &npzFile{path: path, run: run}
	if there, err := f.finished(); !mode.Overwrite && (there || err != nil) {
		return err
	}
	need := int64(run.imageBytes()+8)*int64(len(run.Classes)) + 1<<16
	if err := atomicfile.CheckSpace(filepath.Dir(path), need); err != nil {
		return fmt.Errorf("output %s: %w", path, err)
	}
	return parts.WriteArchive(path)
}

// runOf is the run that parts are of.
func runOf(parts *shard.Parts, classes []int64) Run {
	first := parts.Parts[0]
	run := Run{
		Height:   first.Height,
		Width:    first.Width,
		Channels: first.Channels,
		Identity: parts.Run.Identity,
		Texts:    first.Texts,
		Labels:   parts.Run.Labels,
		Prompts:  parts.Run.Prompts,
	}
	for _, class := range classes {
		run.Classes = append(run.Classes, int(class))
	}
	for _, p := range parts.Parts {
		for class, name := range p.Names {
			for int(class) >= len(run.Names) {
				run.Names = append(run.Names, "")
			}
			run.Names[class] = name
		}
	}
	return run
}

// PartImages returns the images of a run whose parts are all there, for an evaluation by the
// network of an identity, and what closes them. If all parts have its outputs no pixel is read.
func PartImages(parts *shard.Parts, network string) (eval.Images, func() error, error) {
	classes, err := parts.Classes()
	if err != nil {
		return eval.Images{}, nil, err
	}
	r := parts.NewReader()
	images := eval.Images{Count: len(classes), Image: func(i int) (image.Image, error) {
		m, err := r.Image(i)
		if err != nil {
			return nil, err
		}
		return m.Std()
	}}
	if images.Prompts, err = parts.Prompts(); err != nil {
		return eval.Images{}, nil, err
	}
	if parts.Run.Labels && images.Prompts == nil {
		for _, class := range classes {
			images.Labels = append(images.Labels, int32(class))
		}
	}
	images.Known, err = parts.Outputs(network)
	return images, r.Close, err
}
