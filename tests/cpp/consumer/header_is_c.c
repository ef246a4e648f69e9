/* The C interface from C. */
#include <conv3d/conv3d.h>

int version_from_c(void);
int version_from_c(void) {
  conv3d_problem_desc desc;
  CONV3D_INIT(desc);
  return desc.size == sizeof desc && conv3d_version() != 0;
}
