package summary

import (
	"fmt"

	"github.com/tokencache/tokencache/reuse"
)

// Precision says what number formats gain and lose under a policy, and which was chosen.
func Precision(p *reuse.Precision) []string {
	var lines []string
	for _, f := range p.Formats {
		text := fmt.Sprintf("%s: %.2f times as fast as f32, PSNR %.1f dB to its images", f.DType, f.Speedup, f.PSNR)
		if f.Loss != nil {
			text += fmt.Sprintf(", %.3f dB lost to the converged solution", *f.Loss)
		}
		if e := f.Frechet; e != nil {
			text += fmt.Sprintf(", Fréchet distance %+.2f %% (%+.2f to %+.2f)",
				100*(e.Value-1), 100*(e.Low-1), 100*(e.High-1))
		}
		if !f.Keeps {
			text += "; that does not keep the images"
		}
		lines = append(lines, text)
	}
	if p.Note != "" {
		lines = append(lines, p.Note)
	}
	return append(lines, fmt.Sprintf("auto is %s: the fastest format that loses at most %g dB and whose "+
		"Fréchet distance is not larger beyond its interval", p.DType, p.MaxLoss))
}
