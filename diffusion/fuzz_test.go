package diffusion

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzLearnedSolvers reads files of learned solvers. What is read is written and read again.
func FuzzLearnedSolvers(f *testing.F) {
	f.Add(`{"format":1,"solvers":[null]}`)
	f.Add(`{"format":1,"solvers":[{"schedule":"linear","timesteps":[999,500],"weights":[[1,1],[1,1,0]]}]}`)
	f.Add(string(universalFile))
	f.Fuzz(func(t *testing.T, file string) {
		bounded.Run(t, len(file), func() {
			solvers, err := ReadLearnedSolvers(strings.NewReader(file))
			if err != nil {
				return
			}
			var b bytes.Buffer
			if err := WriteLearnedSolvers(&b, solvers); err != nil {
				t.Error(err)
			}
			if again, err := ReadLearnedSolvers(&b); err != nil || len(again) != len(solvers) {
				t.Errorf("%d solvers are read again as %d: %v", len(solvers), len(again), err)
			}
		})
	})
}
