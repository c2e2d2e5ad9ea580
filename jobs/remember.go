package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/shard"
)

// jobFile is the file in a folder of parts that remembers how a job divides its run, so that the
// same command goes on with it.
const jobFile = "job.json"

// Remember writes a job to the folder dir.
func Remember(dir string, j *Job) error {
	if err := j.check(); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, jobFile), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(j)
	})
}

// RememberedSize returns the images of a unit of the job of a run that the folder dir remembers; 0
// if it remembers none.
func RememberedSize(dir string, run shard.Run) (int, error) {
	b, err := regularfile.Read(filepath.Join(dir, jobFile), regularfile.MaxText)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var j Job
	if err != nil || json.Unmarshal(b, &j) != nil || j.check() != nil || !j.Run.Same(run) {
		return 0, err
	}
	return j.Size, nil
}

// WorkerName is the name of a worker process.
func WorkerName(host string, process int) string {
	var safe []byte
	for _, c := range []byte(host) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			safe = append(safe, c)
		}
	}
	return fmt.Sprintf("%s-%d", safe, process)
}
