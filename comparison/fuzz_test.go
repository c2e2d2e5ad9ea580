package comparison

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/report"
)

// FuzzCell reads what a comparison keeps of a policy: cell.json, and images of it.
func FuzzCell(f *testing.F) {
	f.Add([]byte(`{"of":"1","run":{"method":"FORA"},"stats":{"images":3},"timing":{"images":1,"psnr_uncached":null}}`), []byte{})
	f.Add([]byte(`{"step_costs":[{"ms":-1}],"uncached_step":null}`), []byte("\x93NUMPY"))
	f.Fuzz(func(t *testing.T, cell, images []byte) {
		d := &result{dir: t.TempDir()}
		for name, b := range map[string][]byte{resultFile: cell, "000000.npz": images} {
			if err := os.WriteFile(filepath.Join(d.dir, name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		bounded.Run(t, len(cell)+len(images), func() {
			var kept result
			_ = json.Unmarshal(cell, &kept)
			if m, err := d.read(0); err == nil && len(m) == 0 {
				t.Log("a file of no images")
			}
			_, _ = openCounts(filepath.Join(d.dir, resultFile), "1")
		})
	})
}

// FuzzResults reads results.json.
func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"steps":"50","sampler":"ddim","cells":[{"method":"FORA","policy":"fora:n=2","speedup":2}]}`))
	f.Add([]byte(`{"steps":"1,2,,","cells":[null,{}],"converged":{"images":-1}}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		bounded.Run(t, len(file), func() {
			var r report.Results
			_ = json.Unmarshal(file, &r)
		})
	})
}

// FuzzTarget reads targets.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"psnr>=30", "fd<=+4%", "speed=2x", "psnr>=NaN", "speed=1e999x", ">="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bounded.Run(t, len(text), func() {
			target, err := ParseTarget(text)
			if err != nil {
				return
			}
			for _, bound := range []float64{target.psnr, target.speed, target.frechet} {
				if math.IsNaN(bound) || math.IsInf(bound, 0) {
					t.Errorf("%q has the bound %g", text, bound)
				}
			}
		})
	})
}
