/* The two interrupt controllers, under the names of the 8259A's data sheet. Assembly and C share these. */
#ifndef PIC_H
#define PIC_H

#define PIC1_COMMAND 0x20 /* A0 = 0: ICW1, OCW2, OCW3 */
#define PIC1_DATA    0x21 /* A0 = 1: ICW2 to ICW4, OCW1 */
#define PIC2_COMMAND 0xA0
#define PIC2_DATA    0xA1

/* ICW1 begins an initialisation: edge-triggered and cascaded, with none of its other bits. ICW2 is the vector of input 0. */
#define ICW1     0x10
#define ICW1_IC4 0x01 /* ICW4 will come */

/* ICW3 */
#define ICW3_S2  0x04 /* to the first: the second is at its input 2 */
#define ICW3_ID2 0x02 /* to the second: it is at input 2 */

/* ICW4 */
#define ICW4_UPM 0x01 /* 8086 mode */

/* OCW1 is the mask: a set bit closes its input. */
#define OCW1_ALL 0xFF

/* OCW2 */
#define OCW2_EOI 0x20 /* non-specific end of interrupt */

/* OCW3 */
#define OCW3     0x08
#define OCW3_RR  0x02 /* the next read gives a register, */
#define OCW3_RIS 0x01 /* the in-service one */

#endif
