package report

import (
	"image/png"
	"io"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/report/internal/chart"
)

// pngScale is the number of a chart file's pixels for each of the drawing's.
const pngScale = 2

// frontierFiles are the files of the charts of each Measure.
var frontierFiles = []string{PSNR: "frontier-psnr", ConvergedPSNR: "frontier-converged", Frechet: "frontier-frechet"}

// chartFile is a chart with the name of its files, without their endings.
type chartFile struct {
	name    string
	drawing *chart.Drawing
	svgOnly bool // for phones, which show vectors
}

// chartFiles returns the charts that there are numbers for.
func (r *Results) chartFiles() []chartFile {
	var all []chartFile
	for m, name := range frontierFiles {
		if s, ok := r.scatter(Measure(m)); ok {
			all = append(all, chartFile{name: name, drawing: s.file()})
		}
	}
	if panels := r.paretos(); len(panels) > 0 {
		all = append(all,
			chartFile{name: "pareto", drawing: paretoDrawing(panels, false)},
			chartFile{name: "pareto-narrow", drawing: paretoDrawing(panels, true), svgOnly: true})
	}
	if panels := r.precisionPanels(); len(panels) > 0 {
		all = append(all, chartFile{name: precisionChart, drawing: precisionDrawing(panels, false)})
	}
	if s, ok := r.stepTime(); ok {
		all = append(all, chartFile{name: "step-time", drawing: s.file()})
	}
	if m, ok := r.memory(); ok {
		all = append(all, chartFile{name: "memory", drawing: m.file()})
	}
	return all
}

// writeCharts writes each chart as .svg and, unless it is for phones, as .png.
func (r *Results) writeCharts(dir string) error {
	for _, c := range r.chartFiles() {
		path := filepath.Join(dir, c.name)
		if !c.svgOnly {
			if err := writePNG(path+".png", c.drawing, pngScale); err != nil {
				return err
			}
		}
		err := atomicfile.Write(path+".svg", func(w io.Writer) error {
			_, err := w.Write(c.drawing.SVG())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func writePNG(path string, d *chart.Drawing, scale float64) error {
	return atomicfile.Write(path, func(w io.Writer) error { return png.Encode(w, d.Render(scale)) })
}
