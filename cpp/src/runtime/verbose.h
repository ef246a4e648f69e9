// Lines of trace and rare notices, through one sink. CONV3D_VERBOSE=1 asks for a line per call;
// without a sink of the caller's own the lines go to stderr.
#pragma once

#include <string>

namespace conv3d {

// Called from any thread that uses the library, never from a worker. Must not throw.
using VerboseSink = void (*)(const char* line, void* context);

void set_verbose_sink(VerboseSink sink, void* context);  // null: back to stderr
void set_verbose(bool on);
bool verbose();                              // one line per call wanted?
void verbose_line(const std::string& line);  // writes if verbose()
void notice(const std::string& line);        // writes always: used at most once per cause
double now_seconds();                        // a steady clock

}  // namespace conv3d
