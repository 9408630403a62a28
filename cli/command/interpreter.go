package command

import (
	"bufio"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"strings"
)

// interpreterLine is the longest first line of a script that Linux looks at.
const interpreterLine = 256

// missingInterpreter is the program which the kernel would need to start this
// one and that is not on this machine: what a script's first line names, or a
// binary's loader. Empty when nothing is seen to be missing.
func missingInterpreter(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return "" // it may be executable without being readable
	}
	defer file.Close()
	name := scriptInterpreter(file)
	if name == "" {
		name = loader(file)
	}
	if name == "" {
		return ""
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		return ""
	}
	return name
}

func scriptInterpreter(file io.Reader) string {
	line, _ := bufio.NewReader(io.LimitReader(file, interpreterLine)).ReadBytes('\n')
	rest, script := bytes.CutPrefix(line, []byte("#!"))
	if !script {
		return ""
	}
	// Not trimmed of a carriage return: the kernel does not either.
	name, _, _ := strings.Cut(strings.Trim(string(rest), " \t\n"), " ")
	name, _, _ = strings.Cut(name, "\t")
	return name
}

// loader is what a dynamically linked binary names as its interpreter.
func loader(file io.ReaderAt) string {
	binary, err := elf.NewFile(file)
	if err != nil {
		return ""
	}
	for _, part := range binary.Progs {
		if part.Type == elf.PT_INTERP {
			name, err := io.ReadAll(io.LimitReader(part.Open(), interpreterLine))
			if err != nil {
				return ""
			}
			return strings.TrimRight(string(name), "\x00")
		}
	}
	return ""
}
